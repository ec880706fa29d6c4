locals {
  charts = [
    { title = "Calls a second, by code", filter = local.metric.calls, aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["metric.label.code"], kind = "STACKED_BAR" },
    { title = "Calls a second, by version", filter = local.metric.calls, aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["metric.label.model", "metric.label.version"], kind = "STACKED_BAR" },
    { title = "Milliseconds, median", filter = local.metric.milliseconds, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_50", by = ["metric.label.model"], kind = "LINE" },
    { title = "Milliseconds, 99th percentile", filter = local.metric.milliseconds, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99", by = ["metric.label.model"], kind = "LINE" },
    { title = "Instances, by revision", filter = local.metric.instances, aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", by = ["resource.label.revision_name"], kind = "STACKED_AREA" },
    { title = "CPU, 99th percentile of the containers", filter = local.metric.cpu, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99", by = ["resource.label.revision_name"], kind = "LINE" },
    { title = "Memory, 99th percentile of the containers", filter = local.metric.memory, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99", by = ["resource.label.revision_name"], kind = "LINE" },
    { title = "Front end's answers a second, by class", filter = local.metric.requests, aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["metric.label.response_code_class"], kind = "STACKED_BAR" },
  ]
}

resource "google_monitoring_dashboard" "this" {
  project = var.project_id
  dashboard_json = jsonencode({
    displayName = var.name
    labels      = { tensorgate = "" }
    mosaicLayout = {
      columns = 48
      tiles = [for i, chart in local.charts : {
        xPos   = (i % 2) * 24
        yPos   = floor(i / 2) * 16
        width  = 24
        height = 16
        widget = {
          title = chart.title
          xyChart = {
            dataSets = [{
              plotType = chart.kind
              timeSeriesQuery = {
                timeSeriesFilter = {
                  filter = chart.filter
                  aggregation = {
                    alignmentPeriod    = "60s"
                    perSeriesAligner   = chart.aligner
                    crossSeriesReducer = chart.reducer
                    groupByFields      = chart.by
                  }
                }
              }
            }]
          }
        }
      }]
    }
  })
}
