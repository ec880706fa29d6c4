output "uri" {
  description = "Where the gateway is reached, by gRPC over TLS on port 443."
  value       = google_cloud_run_v2_service.this.uri
}

output "service_account" {
  description = "E-mail of the identity that the containers run as."
  value       = google_service_account.this.email
}

output "model_store" {
  description = "URL of the bucket that models are published to."
  value       = google_storage_bucket.models.url
}
