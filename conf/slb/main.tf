# Two ipquery nodes behind Alibaba Cloud's classic load balancer (SLB, now CLB).
# What differs from place to place is in variables.tf; README.md has the steps.

terraform {
  required_version = ">= 1.3"
  required_providers {
    alicloud = {
      source = "aliyun/alicloud"
      # 1.123.1: alicloud_slb_load_balancer.
      version = ">= 1.123.1"
    }
  }
}

provider "alicloud" {
  region = var.region
}

resource "alicloud_slb_load_balancer" "ipquery" {
  load_balancer_name = var.name
  address_type       = var.address_type
  vswitch_id         = var.vswitch_id
  load_balancer_spec = var.load_balancer_spec

  # The load balancer itself is two machines; these are in different zones.
  master_zone_id = var.master_zone_id
  slave_zone_id  = var.slave_zone_id

  # Deleting it by mistake would cut off every caller.
  delete_protection = "on"
}

# Draining: a node in var.draining has weight 0. It gets no new requests, and those
# it has are answered. Then it can be upgraded, or taken away.
resource "alicloud_slb_backend_server" "nodes" {
  load_balancer_id = alicloud_slb_load_balancer.ipquery.id

  backend_servers {
    server_id = var.node_ids[0]
    weight    = contains(var.draining, var.node_ids[0]) ? 0 : 100
  }
  backend_servers {
    server_id = var.node_ids[1]
    weight    = contains(var.draining, var.node_ids[1]) ? 0 : 100
  }
}

# HTTP: the load balancer reads requests, deals out each by itself, and tells the
# nodes the caller's address in X-Forwarded-For.
resource "alicloud_slb_listener" "http" {
  load_balancer_id = alicloud_slb_load_balancer.ipquery.id
  protocol         = "http"
  frontend_port    = var.http_port
  backend_port     = var.node_port
  bandwidth        = var.bandwidth

  # Look-ups are all alike, so that turns are fair; and any node knows everything.
  scheduler      = "wrr"
  sticky_session = "off"

  # Shorter than idle_seconds (75) in ipquery.toml: the load balancer closes an idle
  # connection to a node first, and sends no request into one that is being closed.
  idle_timeout = 60

  # A look-up takes microseconds. What has no answer after 5 s has none coming; the
  # caller gets 504 and can ask again.
  request_timeout = 5

  # HEAD, so that nothing but the status goes over the wire. /healthz, not /readyz: a
  # node that drains refuses new connections, and so fails either; but /readyz can say
  # no on both nodes at once, and a load balancer with no node left answers nobody.
  health_check           = "on"
  health_check_method    = "head"
  health_check_uri       = var.health_check_uri
  health_check_http_code = "http_2xx"

  # A dead node is left out after 4 to 8 s: three checks, one every 2 s. Requests sent
  # to it until then fail, which is why nginx stands in between where none may.
  health_check_interval = 2
  health_check_timeout  = 2
  unhealthy_threshold   = 3
  healthy_threshold     = 2

  x_forwarded_for {
    retrive_slb_ip    = true
    retrive_slb_proto = true
  }

  depends_on = [alicloud_slb_backend_server.nodes]
}

# TCP: deals out connections and doesn't read them. Faster, and for callers that
# bring TLS of their own to nginx on the nodes.
resource "alicloud_slb_listener" "tcp" {
  load_balancer_id = alicloud_slb_load_balancer.ipquery.id
  protocol         = "tcp"
  frontend_port    = var.tcp_port
  backend_port     = var.node_port
  bandwidth        = var.bandwidth

  # Connections live long, requests don't: the node with fewer gets the next one.
  scheduler           = "wlc"
  persistence_timeout = 0

  # Longer than idle_seconds (75): the node closes idle connections in the proper way,
  # before the load balancer forgets them without a word to the caller.
  established_timeout = 120

  # That a port is open doesn't mean that somebody answers: a frozen node's kernel
  # takes connections as well. For TCP listeners the method is HEAD and can't be set.
  health_check_type      = "http"
  health_check_uri       = var.health_check_uri
  health_check_http_code = "http_2xx"
  health_check_interval  = 2
  health_check_timeout   = 2
  unhealthy_threshold    = 3
  healthy_threshold      = 2

  depends_on = [alicloud_slb_backend_server.nodes]
}
