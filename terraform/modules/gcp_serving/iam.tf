resource "google_service_account" "this" {
  project      = var.project_id
  account_id   = "${var.name}-run"
  display_name = "tensorgate ${var.name}"
}

resource "google_storage_bucket_iam_member" "reader" {
  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.this.email}"
}

# Creator and viewer, not user: a published version is never overwritten or deleted.
resource "google_storage_bucket_iam_member" "publishers" {
  for_each = {
    for pair in setproduct(var.model_store.publishers, ["roles/storage.objectCreator", "roles/storage.objectViewer"]) :
    join(" ", pair) => { member = pair[0], role = pair[1] }
  }

  bucket = google_storage_bucket.models.name
  role   = each.value.role
  member = each.value.member
}

resource "google_secret_manager_secret_iam_member" "this" {
  for_each = {
    keys        = google_secret_manager_secret.keys.secret_id
    receipt_key = google_secret_manager_secret.receipt_key.secret_id
  }

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.this.email}"
}

resource "google_cloud_run_v2_service_iam_member" "callers" {
  for_each = var.foundation_only ? [] : toset(var.auth.callers)

  project  = var.project_id
  location = google_cloud_run_v2_service.this[0].location
  name     = google_cloud_run_v2_service.this[0].name
  role     = "roles/run.invoker"
  member   = each.value
}
