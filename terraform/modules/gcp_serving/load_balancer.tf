locals {
  balanced = var.domain == null || var.foundation_only ? [] : [var.domain]
}

resource "google_compute_global_address" "this" {
  count = length(local.balanced)

  project = var.project_id
  name    = var.name
}

resource "google_compute_region_network_endpoint_group" "this" {
  count = length(local.balanced)

  project               = var.project_id
  name                  = var.name
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = google_cloud_run_v2_service.this[0].name
  }
}

resource "google_compute_security_policy" "this" {
  #checkov:skip=CKV_GCP_73:Log4j is a Java library; nothing here runs Java
  count = length(local.balanced)

  project = var.project_id
  name    = var.name

  rule {
    description = "What one address may ask for in a minute"
    action      = "throttle"
    priority    = 2147483647
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = local.balanced[0].calls_per_minute
        interval_sec = 60
      }
    }
  }
}

resource "google_compute_backend_service" "this" {
  count = length(local.balanced)

  project               = var.project_id
  name                  = var.name
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.this[0].id

  backend {
    group = google_compute_region_network_endpoint_group.this[0].id
  }
  log_config {
    enable      = true
    sample_rate = 1
  }
}

resource "google_compute_url_map" "this" {
  count = length(local.balanced)

  project         = var.project_id
  name            = var.name
  default_service = google_compute_backend_service.this[0].id
}

resource "google_compute_managed_ssl_certificate" "this" {
  count = length(local.balanced)

  project = var.project_id
  # Another domain is another certificate, made before the old one goes.
  name = "${var.name}-${substr(sha256(local.balanced[0].name), 0, 8)}"

  managed {
    domains = [local.balanced[0].name]
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "this" {
  count = length(local.balanced)

  project         = var.project_id
  name            = var.name
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_target_https_proxy" "this" {
  count = length(local.balanced)

  project          = var.project_id
  name             = var.name
  url_map          = google_compute_url_map.this[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.this[0].id]
  ssl_policy       = google_compute_ssl_policy.this[0].id
}

resource "google_compute_global_forwarding_rule" "this" {
  count = length(local.balanced)

  project               = var.project_id
  name                  = var.name
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.this[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.this[0].id
  labels                = var.labels
}

resource "google_dns_record_set" "this" {
  count = length([for domain in local.balanced : domain if domain.zone != null])

  project      = var.project_id
  managed_zone = local.balanced[0].zone
  name         = "${local.balanced[0].name}."
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_global_address.this[0].address]
}
