output "state_bucket" {
  description = "For backend.hcl."
  value       = google_storage_bucket.state.name
}

output "workload_identity_provider" {
  description = "For the workflows: variable GCP_WORKLOAD_IDENTITY_PROVIDER of the GitHub environment."
  value       = google_iam_workload_identity_pool_provider.github.name
  depends_on  = [google_service_account_iam_member.github]
}

output "accounts" {
  description = "For the workflows: variables GCP_PLAN_ACCOUNT and GCP_DEPLOY_ACCOUNT."
  value       = { for name, account in google_service_account.github : name => account.email }
  depends_on  = [google_project_iam_member.github]
}
