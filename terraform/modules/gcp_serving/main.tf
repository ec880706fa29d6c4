locals {
  model        = var.models[0]
  gateway_port = 8080
  server_port  = 8500
  ops_port     = 8081
}

resource "google_service_account" "this" {
  project      = var.project_id
  account_id   = var.name
  display_name = "tensorgate ${var.name}"
}

resource "google_cloud_run_v2_service" "this" {
  project  = var.project_id
  name     = var.name
  location = var.region
  labels   = var.labels

  template {
    service_account                  = google_service_account.this.email
    max_instance_request_concurrency = var.scaling.concurrency
    labels                           = var.labels

    scaling {
      min_instance_count = var.scaling.min_instances
      max_instance_count = var.scaling.max_instances
    }

    containers {
      name       = "gateway"
      image      = var.images.gateway
      depends_on = ["server"]

      ports {
        # HTTP/2 end to end, which gRPC needs.
        name           = "h2c"
        container_port = local.gateway_port
      }

      env {
        name  = "TENSORGATE_MODELS"
        value = local.model
      }
      env {
        name  = "TENSORGATE_LISTEN"
        value = "0.0.0.0:${local.gateway_port}"
      }
      env {
        name  = "TENSORGATE_HTTP"
        value = "0.0.0.0:${local.ops_port}"
      }
      env {
        # Cloud Run ends TLS in front of the container.
        name  = "TENSORGATE_TLS__PLAINTEXT_ANYWHERE"
        value = "true"
      }
      env {
        name  = "TENSORGATE_BACKEND__ADDRESS"
        value = "127.0.0.1:${local.server_port}"
      }
      env {
        name  = "TENSORGATE_AUTH__KEYS_FILE"
        value = "/secrets/keys.json"
      }

      volume_mounts {
        name       = "keys"
        mount_path = "/secrets"
      }

      startup_probe {
        period_seconds    = 2
        failure_threshold = 60
        grpc {
          port = local.gateway_port
        }
      }

      liveness_probe {
        period_seconds = 10
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
        "--model_name=${local.model}",
        "--model_base_path=/models/${local.model}",
      ]

      volume_mounts {
        name       = "models"
        mount_path = "/models"
      }

      startup_probe {
        period_seconds    = 2
        failure_threshold = 60
        tcp_socket {
          port = local.server_port
        }
      }
    }

    volumes {
      name = "models"
      gcs {
        bucket    = google_storage_bucket.models.name
        read_only = true
      }
    }

    volumes {
      name = "keys"
      secret {
        secret = var.keys_secret_id
        items {
          version = "latest"
          path    = "keys.json"
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.keys,
    google_storage_bucket_iam_member.models,
  ]
}
