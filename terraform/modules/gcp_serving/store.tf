resource "google_storage_bucket" "models" {
  project                     = var.project_id
  name                        = "${var.project_id}-${var.name}-models"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  versioning {
    enabled = true
  }
}
