resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is the caller's to say, by law or by cost: log_retention_days
  for_each = toset(concat(["gateway", "server", "sync"], var.network.vpc_id == null ? ["network"] : []))

  name              = "/tensorgate/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
  tags              = var.labels
}

locals {
  namespace = "tensorgate/${var.name}"
  # From the access log, since gRPC's status travels behind an HTTP 200 that the load balancer counts as success.
  call_metrics = {
    calls             = { pattern = "{ $.event = \"call\" }", value = "1", unit = "Count" }
    faults            = { pattern = "{ $.event = \"call\" && ($.code = \"INTERNAL\" || $.code = \"UNAVAILABLE\" || $.code = \"UNKNOWN\" || $.code = \"DATA_LOSS\") }", value = "1", unit = "Count" }
    call_milliseconds = { pattern = "{ $.event = \"call\" && $.ms >= 0 }", value = "$.ms", unit = "Milliseconds" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.call_metrics

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.this["gateway"].name
  pattern        = each.value.pattern

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = each.value.value
    unit      = each.value.unit
  }
}

resource "aws_cloudwatch_log_metric_filter" "calls_by_code" {
  name           = "${var.name}-calls-by-code"
  log_group_name = aws_cloudwatch_log_group.this["gateway"].name
  pattern        = local.call_metrics.calls.pattern

  metric_transformation {
    namespace  = local.namespace
    name       = "calls"
    value      = "1"
    unit       = "Count"
    dimensions = { code = "$.code" }
  }
}
