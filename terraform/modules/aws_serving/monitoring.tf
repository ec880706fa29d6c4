locals {
  service_dimensions = { ClusterName = var.name, ServiceName = var.name }

  # An alarm on `metric`, or on `expression` over `metrics`.
  alarms = {
    errors = {
      text       = "More than ${var.alerts.error_ratio * 100} % of calls end with a code that is the service's fault."
      threshold  = var.alerts.error_ratio
      minutes    = 3
      expression = "IF(calls > 0, faults / calls, 0)"
      metrics = {
        calls  = { namespace = local.namespace, name = "calls", stat = "Sum", dimensions = {} }
        faults = { namespace = local.namespace, name = "faults", stat = "Sum", dimensions = {} }
      }
    }
    latency = {
      text       = "One call in a hundred takes longer than ${var.alerts.latency_ms} ms."
      threshold  = var.alerts.latency_ms
      minutes    = 5
      expression = null
      metrics    = { value = { namespace = local.namespace, name = "call_milliseconds", stat = "p99", dimensions = {} } }
    }
    front_end = {
      text       = "The load balancer answers for the gateway: no task takes the call."
      threshold  = 5
      minutes    = 3
      expression = null
      metrics    = { value = { namespace = "AWS/ApplicationELB", name = "HTTPCode_ELB_5XX_Count", stat = "Sum", dimensions = { LoadBalancer = one(aws_lb.this[*].arn_suffix) } } }
    }
    saturation = {
      text       = "All ${var.scaling.max_instances} tasks have been running for a quarter of an hour: raise scaling.max_instances or find out who calls so much."
      threshold  = var.scaling.max_instances - 0.5
      minutes    = 15
      expression = null
      metrics    = { value = { namespace = "ECS/ContainerInsights", name = "RunningTaskCount", stat = "Maximum", dimensions = local.service_dimensions } }
    }
    too_few = {
      text       = "Fewer than ${var.scaling.min_instances} tasks run: they do not start, or do not stay."
      threshold  = 0.5
      minutes    = 10
      expression = "${var.scaling.min_instances} - tasks"
      metrics    = { tasks = { namespace = "ECS/ContainerInsights", name = "RunningTaskCount", stat = "Average", dimensions = local.service_dimensions } }
    }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.this.id
  tags              = var.labels
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alerts.emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for name, alarm in local.alarms : name => alarm if !var.foundation_only }

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}"
  alarm_description   = "${each.value.text} What to do: docs/runbooks/incidents.md, `${each.key}`."
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.key == "too_few" ? "breaching" : "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = var.labels

  dynamic "metric_query" {
    for_each = each.value.expression == null ? [] : [each.value.expression]
    content {
      id          = "result"
      expression  = metric_query.value
      label       = each.key
      return_data = true
    }
  }
  dynamic "metric_query" {
    for_each = each.value.metrics
    content {
      id          = metric_query.key
      return_data = each.value.expression == null
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        stat        = metric_query.value.stat
        period      = 60
        dimensions  = metric_query.value.dimensions
      }
    }
  }
}

resource "aws_budgets_budget" "this" {
  count = var.budget == null ? 0 : 1

  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget.amount)
  limit_unit   = "USD"
  tags         = var.labels

  dynamic "notification" {
    for_each = [50, 90, 100]
    content {
      notification_type          = "ACTUAL"
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.alerts.emails
    }
  }
}
