locals {
  metric = {
    calls        = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.calls.name}\""
    milliseconds = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.call_milliseconds.name}\""
    requests     = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND metric.type = \"run.googleapis.com/request_count\""
    instances    = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND metric.type = \"run.googleapis.com/container/instance_count\""
    cpu          = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND metric.type = \"run.googleapis.com/container/cpu/utilizations\""
    memory       = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND metric.type = \"run.googleapis.com/container/memory/utilizations\""
  }
  # The codes that are the service's fault.
  faults = "metric.labels.code = monitoring.regex.full_match(\"INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS\")"

  # Scheme and host of the service, whichever way it is reached.
  host = var.foundation_only ? null : var.domain == null ? trimprefix(google_cloud_run_v2_service.this[0].uri, "https://") : var.domain.name

  thresholds = {
    errors = {
      title       = "fails calls"
      severity    = "CRITICAL"
      filter      = "${local.metric.calls} AND ${local.faults}"
      denominator = local.metric.calls
      aligner     = "ALIGN_RATE"
      reducer     = "REDUCE_SUM"
      threshold   = var.alerts.error_ratio
      duration    = "300s"
      text        = "More than ${var.alerts.error_ratio * 100} % of calls end with a code that is the service's fault."
    }
    latency = {
      title       = "is slow"
      severity    = "WARNING"
      filter      = local.metric.milliseconds
      denominator = null
      aligner     = "ALIGN_DELTA"
      reducer     = "REDUCE_PERCENTILE_99"
      threshold   = var.alerts.latency_ms
      duration    = "300s"
      text        = "One call in a hundred takes longer than ${var.alerts.latency_ms} ms."
    }
    front_end = {
      title       = "does not answer"
      severity    = "CRITICAL"
      filter      = "${local.metric.requests} AND metric.labels.response_code_class = \"5xx\""
      denominator = local.metric.requests
      aligner     = "ALIGN_RATE"
      reducer     = "REDUCE_SUM"
      threshold   = var.alerts.error_ratio
      duration    = "120s"
      text        = "Cloud Run's front end answers for the gateway: no instance starts, or none takes the call."
    }
    saturation = {
      title       = "is at its limit"
      severity    = "WARNING"
      filter      = local.metric.instances
      denominator = null
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_SUM"
      threshold   = var.scaling.max_instances - 0.5
      duration    = "900s"
      text        = "All ${var.scaling.max_instances} instances have been running for a quarter of an hour: raise scaling.max_instances or find out who calls so much."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alerts.emails)

  project      = var.project_id
  display_name = "${var.name}: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.thresholds

  project               = var.project_id
  display_name          = "${var.name} ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  user_labels           = var.labels

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter             = each.value.filter
      denominator_filter = each.value.denominator
      comparison         = "COMPARISON_GT"
      threshold_value    = each.value.threshold
      duration           = each.value.duration

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
      }
      dynamic "denominator_aggregations" {
        for_each = each.value.denominator == null ? [] : [each.value]
        content {
          alignment_period     = "60s"
          per_series_aligner   = denominator_aggregations.value.aligner
          cross_series_reducer = denominator_aggregations.value.reducer
        }
      }
    }
  }

  documentation {
    subject   = "${var.name} ${each.value.title}"
    mime_type = "text/markdown"
    content   = "${each.value.text}\n\nWhat to do: docs/runbooks/incidents.md, `${each.key}`."
  }
  alert_strategy {
    auto_close = "1800s"
  }
}

# Only what the internet reaches can be checked from there. gRPC has no page to fetch: the check is that the door opens,
# the alerts above tell whether anybody is behind it.
resource "google_monitoring_uptime_check_config" "this" {
  count = var.auth.public && !var.foundation_only ? 1 : 0

  project      = var.project_id
  display_name = var.name
  period       = "60s"
  timeout      = "10s"
  user_labels  = var.labels

  tcp_check {
    port = 443
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project_id, host = local.host }
  }
}

resource "google_monitoring_alert_policy" "uptime" {
  count = length(google_monitoring_uptime_check_config.this)

  project               = var.project_id
  display_name          = "${var.name} cannot be reached"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  user_labels           = var.labels

  conditions {
    display_name = "cannot be reached"
    condition_threshold {
      filter          = "resource.type = \"uptime_url\" AND metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id = \"${google_monitoring_uptime_check_config.this[0].uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
      }
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "Two places or more cannot connect to ${local.host}:443.\n\nWhat to do: docs/runbooks/incidents.md, `uptime`."
  }
}

resource "google_billing_budget" "this" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.billing_account
  display_name    = var.name

  budget_filter {
    projects = ["projects/${data.google_project.this[0].number}"]
  }
  amount {
    specified_amount {
      units = tostring(var.budget.amount)
    }
  }
  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  }
}

data "google_project" "this" {
  count = var.budget == null ? 0 : 1

  project_id = var.project_id
}
