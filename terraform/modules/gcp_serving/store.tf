resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs tell who read and wrote; usage logs add nothing to them
  project                     = var.project_id
  name                        = "${var.project_id}-${var.name}-models"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.model_store.force_destroy
  labels                      = var.labels

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.model_store.noncurrent_days
      with_state                 = "ARCHIVED"
    }
  }
  dynamic "lifecycle_rule" {
    for_each = var.capture == null ? [] : [var.capture]
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value.days
        matches_prefix = ["captured/"]
      }
    }
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }
}

# Read by the server again every minute.
resource "google_storage_bucket_object" "model_config" {
  bucket       = google_storage_bucket.models.name
  name         = "models.config"
  content_type = "text/plain"
  content = templatefile("${path.module}/models.config.tftpl", {
    path            = local.models_path
    models          = var.models
    loaded_versions = coalesce(var.model_store.loaded_versions, var.model_rollouts ? 3 : 2)
  })
}

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:encrypted with keys that Google manages; images hold no secrets
  project       = var.project_id
  location      = var.region
  repository_id = var.name
  description   = "Images of ${var.name}"
  format        = "DOCKER"
  labels        = var.labels

  docker_config {
    immutable_tags = true
  }
  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days
    }
  }
}
