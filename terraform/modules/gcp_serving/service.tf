locals {
  grpc_port   = 50051
  ops_port    = 8080
  server_port = 8500
  models_path = "/models"

  # What is off unless asked for.
  optional_environment = merge(
    var.model_rollouts ? {
      TENSORGATE_ROLLOUT__PLANS    = google_storage_bucket.models.url
      TENSORGATE_ROLLOUT__REPLICAS = tostring(var.scaling.max_instances)
    } : {},
    var.capture == null ? {} : {
      TENSORGATE_CAPTURE__PATH          = "${google_storage_bucket.models.url}/captured"
      TENSORGATE_CAPTURE__SAMPLING_RATE = tostring(var.capture.sampling_rate)
    },
  )

  receipt_key = { secret = google_secret_manager_secret.receipt_key.secret_id, version = google_secret_manager_secret_version.receipt_key.version }
  secrets = merge(
    { TENSORGATE_RECEIPT_KEY = local.receipt_key },
    # Versions are counted, and the one before is kept.
    var.auth.receipt_key_fallback ? { TENSORGATE_RECEIPT_KEY_FALLBACKS = merge(local.receipt_key, { version = tostring(local.receipt_key.version - 1) }) } : {},
    var.feedback == null ? {} : { TENSORGATE_FEEDBACK__DATABASE_URL = { secret = var.feedback.database_url_secret, version = "latest" } },
  )

  # Cloud Run sends no calls after SIGTERM and kills ten seconds later.
  environment = merge({
    TENSORGATE_MODELS           = join(",", var.models)
    TENSORGATE_LISTEN           = "0.0.0.0:${local.grpc_port}"
    TENSORGATE_HTTP             = "0.0.0.0:${local.ops_port}"
    TENSORGATE_BACKEND__ADDRESS = "127.0.0.1:${local.server_port}"
    TENSORGATE_AUTH__ENABLED    = tostring(var.auth.api_keys)
    TENSORGATE_AUTH__KEYS_FILE  = "/secrets/keys.json"
    TENSORGATE_DRAIN__DELAY     = "0"
    TENSORGATE_DRAIN__GRACE     = "8"
    # TLS ends at Google's front end.
    TENSORGATE_TLS__PLAINTEXT_ANYWHERE = "true"
  }, local.optional_environment, var.settings)
}

resource "google_cloud_run_v2_service" "this" {
  count = var.foundation_only ? 0 : 1

  project              = var.project_id
  name                 = var.name
  location             = var.region
  ingress              = !var.auth.public ? "INGRESS_TRAFFIC_INTERNAL_ONLY" : var.domain == null ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  default_uri_disabled = var.domain != null
  custom_audiences     = var.domain == null ? null : ["https://${var.domain.name}"]
  deletion_protection  = var.deletion_protection
  labels               = var.labels

  scaling {
    min_instance_count = var.scaling.min_instances
    max_instance_count = var.scaling.max_instances
  }

  template {
    service_account                  = google_service_account.this.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2" # volumes need it
    max_instance_request_concurrency = var.scaling.concurrency
    timeout                          = "3600s" # a stream may be long; a call's deadline is its caller's
    labels                           = var.labels

    containers {
      name       = "gateway"
      image      = var.images.gateway
      depends_on = ["server"]

      ports {
        # HTTP/2 end to end, which gRPC needs.
        name           = "h2c"
        container_port = local.grpc_port
      }

      resources {
        limits            = { cpu = var.resources.gateway.cpu, memory = var.resources.gateway.memory }
        cpu_idle          = false # it polls for new versions between calls
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret
              version = env.value.version
            }
          }
        }
      }

      volume_mounts {
        name       = "keys"
        mount_path = "/secrets"
      }

      # Serving: a model is there and its contract holds.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 90
        grpc {
          port = local.grpc_port
        }
      }

      # Health is NOT_SERVING too while no model is ready, which a restart does not mend: the process alone is asked.
      liveness_probe {
        period_seconds  = 10
        timeout_seconds = 5
        http_get {
          path = "/livez"
          port = local.ops_port
        }
      }
    }

    containers {
      name  = "server"
      image = var.images.server
      args = [
        "--port=${local.server_port}",
        "--model_config_file=${local.models_path}/${google_storage_bucket_object.model_config.name}",
        "--model_config_file_poll_wait_seconds=60",
        "--enable_grpc_healthcheck_service=true",
      ]

      resources {
        limits            = { cpu = var.resources.server.cpu, memory = var.resources.server.memory }
        cpu_idle          = false
        startup_cpu_boost = true
      }

      volume_mounts {
        name       = "models"
        mount_path = local.models_path
      }

      # The port opens once the models are loaded.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 90
        grpc {
          port = local.server_port
        }
      }

      liveness_probe {
        period_seconds  = 10
        timeout_seconds = 5
        grpc {
          port = local.server_port
        }
      }
    }

    volumes {
      name = "models"
      gcs {
        bucket    = google_storage_bucket.models.name
        read_only = true
        # Objects make directories; a new version is seen within seconds.
        mount_options = ["implicit-dirs", "metadata-cache-ttl-secs=10"]
      }
    }

    volumes {
      name = "keys"
      dynamic "secret" {
        for_each = var.auth.api_keys ? [google_secret_manager_secret.keys.secret_id] : []
        content {
          secret = secret.value
          items {
            version = "latest"
            path    = "keys.json"
          }
        }
      }
      dynamic "empty_dir" {
        for_each = var.auth.api_keys ? [] : ["unused"]
        content {
          medium = "MEMORY"
        }
      }
    }

    dynamic "vpc_access" {
      for_each = var.network == null ? [] : [var.network]
      content {
        egress = vpc_access.value.all_traffic ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = vpc_access.value.network
          subnetwork = vpc_access.value.subnetwork
          tags       = vpc_access.value.tags
        }
      }
    }
  }

  dynamic "traffic" {
    for_each = var.rollout == null ? [] : [var.rollout]
    content {
      type     = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
      revision = traffic.value.stable
      percent  = 100 - traffic.value.percent
      tag      = "stable"
    }
  }
  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = var.rollout == null ? 100 : var.rollout.percent
    tag     = "candidate"
  }

  depends_on = [
    google_secret_manager_secret_iam_member.this,
    google_storage_bucket_iam_member.reader,
    google_storage_bucket_iam_member.writer,
  ]
}
