output "endpoint" {
  description = "host:port of the gateway, gRPC over TLS; null while there is no service."
  value       = local.host == null ? null : "${local.host}:443"
  depends_on  = [google_cloud_run_v2_service_iam_member.callers, google_compute_global_forwarding_rule.this]
}

output "address" {
  description = "IP address that the domain's A record names; null without a domain."
  value       = one(google_compute_global_address.this[*].address)
}

output "identities" {
  description = "Whom the service runs as."
  value       = { service = "serviceAccount:${google_service_account.this.email}" }
}

output "model_store" {
  description = "URL that models are published under, as <model_store>/<name>/<version>/."
  value       = google_storage_bucket.models.url
  depends_on  = [google_storage_bucket_iam_member.publishers]
}

output "registry" {
  description = "Prefix of the names that images are pushed under."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "images" {
  description = "What runs, for a deployment to keep or to go back to; null while there is no service."
  value       = var.foundation_only ? null : var.images
}

output "revision" {
  description = "The newest revision, which a roll-out to a later one names as stable; null while there is no service."
  value       = one(google_cloud_run_v2_service.this[*].latest_created_revision)
}

output "commands" {
  description = "What is done by hand."
  value = {
    add_keys      = "gcloud secrets versions add ${google_secret_manager_secret.keys.secret_id} --project=${var.project_id} --data-file=var/keys.json"
    docker_login  = "gcloud auth configure-docker ${var.region}-docker.pkg.dev"
    publish_model = "gcloud storage rsync --recursive var/models/MODEL/VERSION ${google_storage_bucket.models.url}/MODEL/VERSION"
    logs          = "gcloud logging read 'resource.labels.service_name=${var.name}' --project=${var.project_id} --freshness=1h"
    rollback      = "gcloud run services update-traffic ${var.name} --project=${var.project_id} --region=${var.region} --to-revisions=REVISION=100"
  }
}
