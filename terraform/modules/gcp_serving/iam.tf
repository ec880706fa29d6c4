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

# Where the service writes: the plans of roll-outs, captured requests.
locals {
  written = merge(
    { for model in var.models : model => ["${model}/rollout.json", "${model}/.rollout/"] if var.model_rollouts },
    var.capture == null ? {} : { captured = ["captured/"] },
  )
}

resource "google_storage_bucket_iam_member" "writer" {
  for_each = local.written

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.this.email}"

  condition {
    title      = "write-${each.key}"
    expression = join(" || ", [for prefix in each.value : "resource.name.startsWith('projects/_/buckets/${google_storage_bucket.models.name}/objects/${prefix}')"])
  }
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
  for_each = merge({
    keys        = google_secret_manager_secret.keys.secret_id
    receipt_key = google_secret_manager_secret.receipt_key.secret_id
  }, var.feedback == null ? {} : { feedback = var.feedback.database_url_secret })

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
