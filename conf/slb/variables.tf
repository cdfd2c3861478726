variable "region" {
  description = "Region of the nodes, such as cn-hangzhou."
  type        = string
}

variable "name" {
  description = "How the load balancer is called in the console."
  type        = string
  default     = "ipquery"
}

variable "address_type" {
  description = "intranet for your own network; internet only with a rate limit in nginx."
  type        = string
  default     = "intranet"
}

variable "vswitch_id" {
  description = "The vSwitch that the load balancer's address is taken from."
  type        = string
}

variable "load_balancer_spec" {
  description = "Size. slb.s2.medium takes 10,000 requests a second over HTTP; slb.s2.small half of it."
  type        = string
  default     = "slb.s2.medium"
}

variable "master_zone_id" {
  description = "Zone of the load balancer."
  type        = string
}

variable "slave_zone_id" {
  description = "Zone that takes over when that one fails; another than master_zone_id."
  type        = string
}

variable "node_ids" {
  description = "The two ECS instances that run ipquery, best in different zones."
  type        = list(string)

  validation {
    condition     = length(var.node_ids) == 2
    error_message = "Name two nodes; more of them need a block each in main.tf."
  }
}

variable "draining" {
  description = "Those of node_ids that get no new requests, for the time of an upgrade."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.draining) < 2
    error_message = "One node at a time: with both draining nobody is answered."
  }
}

variable "node_port" {
  description = "What the nodes listen on: bind in ipquery.toml, 9000 with nginx on the nodes."
  type        = number
  default     = 8080
}

variable "http_port" {
  description = "What callers use, over HTTP."
  type        = number
  default     = 9000
}

variable "tcp_port" {
  description = "What callers use, over plain TCP."
  type        = number
  default     = 9001
}

variable "bandwidth" {
  description = "Mbit/s of each listener; -1 for no limit."
  type        = number
  default     = -1
}

variable "health_check_uri" {
  description = "What is asked to find out whether a node lives."
  type        = string
  default     = "/healthz"
}
