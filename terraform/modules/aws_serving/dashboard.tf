locals {
  charts = [
    { title = "Calls, by code", stat = "Sum", stacked = true, metrics = [[{ expression = "SEARCH('{${local.namespace},code} MetricName=\"calls\"', 'Sum', 60)", id = "codes" }]] },
    { title = "Calls and faults", stat = "Sum", stacked = false, metrics = [[local.namespace, "calls"], [local.namespace, "faults"]] },
    { title = "Milliseconds", stat = "p99", stacked = false, metrics = [for stat in ["p50", "p95", "p99"] : [local.namespace, "call_milliseconds", { stat = stat, label = stat }]] },
    { title = "Tasks", stat = "Average", stacked = false, metrics = [for name in ["RunningTaskCount", "DesiredTaskCount"] : ["ECS/ContainerInsights", name, "ClusterName", var.name, "ServiceName", var.name]] },
    { title = "CPU and memory, per cent", stat = "Average", stacked = false, metrics = [for name in ["CPUUtilization", "MemoryUtilization"] : ["AWS/ECS", name, "ClusterName", var.name, "ServiceName", var.name]] },
    { title = "Requests, by target group", stat = "Sum", stacked = true, metrics = [for group in aws_lb_target_group.this : ["AWS/ApplicationELB", "RequestCount", "TargetGroup", group.arn_suffix, "LoadBalancer", one(aws_lb.this[*].arn_suffix)]] },
    { title = "Load balancer's own errors", stat = "Sum", stacked = false, metrics = [["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", one(aws_lb.this[*].arn_suffix)]] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.foundation_only ? 0 : 1

  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for i, chart in local.charts : {
      type   = "metric"
      x      = (i % 2) * 12
      y      = floor(i / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = chart.title
        region  = var.region
        period  = 60
        stat    = chart.stat
        stacked = chart.stacked
        view    = "timeSeries"
        metrics = chart.metrics
      }
    }]
  })
}
