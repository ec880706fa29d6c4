resource "google_storage_bucket_iam_member" "models" {
  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.this.email}"
}

resource "google_secret_manager_secret_iam_member" "keys" {
  project   = var.project_id
  secret_id = var.keys_secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.this.email}"
}

resource "google_cloud_run_v2_service_iam_member" "invokers" {
  for_each = toset(var.invokers)

  project  = var.project_id
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = each.value

  lifecycle {
    precondition {
      condition     = each.value != "allUsers" || var.allow_public
      error_message = "allUsers makes the service public: set allow_public = true if that is meant."
    }
  }
}
