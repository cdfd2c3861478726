output "address" {
  description = "What callers connect to."
  value       = alicloud_slb_load_balancer.ipquery.address
}

output "http_url" {
  description = "A look-up, to try it."
  value       = "http://${alicloud_slb_load_balancer.ipquery.address}:${var.http_port}/api/ip_query?ip=114.114.114.114"
}
