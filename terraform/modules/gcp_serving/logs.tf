locals {
  service_filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}\" AND resource.labels.location=\"${var.region}\""
  call_filter    = "${local.service_filter} AND jsonPayload.event=\"call\""
}

# The service's log in a bucket of its own, kept as long as asked.
resource "google_logging_project_bucket_config" "this" {
  project        = var.project_id
  location       = var.region
  bucket_id      = var.name
  retention_days = var.log_retention_days
}

resource "google_logging_project_sink" "this" {
  project                = var.project_id
  name                   = var.name
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.this.id}"
  filter                 = local.service_filter
  unique_writer_identity = true
}

# From the access log, since gRPC's status travels behind an HTTP 200 that Cloud Run's own metrics count as success.
resource "google_logging_metric" "calls" {
  project     = var.project_id
  name        = "${var.name}/calls"
  description = "Calls that ended, by gRPC code."
  filter      = local.call_filter

  label_extractors = {
    code    = "EXTRACT(jsonPayload.code)"
    model   = "EXTRACT(jsonPayload.model)"
    version = "EXTRACT(jsonPayload.version)"
  }
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels {
      key = "code"
    }
    labels {
      key = "model"
    }
    labels {
      key = "version"
    }
  }
}

resource "google_logging_metric" "call_milliseconds" {
  project         = var.project_id
  name            = "${var.name}/call_milliseconds"
  description     = "Time from request to answer."
  filter          = local.call_filter
  value_extractor = "EXTRACT(jsonPayload.ms)"

  label_extractors = {
    model   = "EXTRACT(jsonPayload.model)"
    version = "EXTRACT(jsonPayload.version)"
  }
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
    labels {
      key = "model"
    }
    labels {
      key = "version"
    }
  }
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 1.3
      scale              = 0.5
    }
  }
}
