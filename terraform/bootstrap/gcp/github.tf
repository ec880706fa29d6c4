# GitHub's own tokens, exchanged for short-lived ones of two accounts: no keys to keep or to leak.
resource "google_iam_workload_identity_pool" "github" {
  project                   = var.project_id
  workload_identity_pool_id = "github"
  display_name              = "GitHub Actions"
  depends_on                = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:the pool admits the repository; which of its jobs may act as which account, the accounts say
  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = "assertion.repository == '${var.repository}'"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

locals {
  accounts = {
    # Plans of pull requests and the nightly look for drift.
    plan = {
      subjects = ["repo:${var.repository}:environment:${var.environment}-plan"]
      roles    = ["roles/viewer", "roles/iam.securityReviewer", "roles/storage.objectViewer"]
    }
    # Jobs of this environment, which GitHub lets run on main and after approval.
    deploy = {
      subjects = ["repo:${var.repository}:environment:${var.environment}"]
      roles = [
        "roles/artifactregistry.admin",
        "roles/compute.loadBalancerAdmin",
        "roles/compute.securityAdmin",
        "roles/dns.admin",
        "roles/iam.serviceAccountAdmin",
        "roles/iam.serviceAccountUser",
        "roles/logging.configWriter",
        "roles/logging.viewer",
        "roles/monitoring.editor",
        "roles/run.admin",
        "roles/secretmanager.admin",
        "roles/storage.admin",
      ]
    }
  }
}

resource "google_service_account" "github" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = "github-${each.key}"
  display_name = "GitHub Actions, ${each.key}"
}

resource "google_service_account_iam_member" "github" {
  for_each = merge([for name, account in local.accounts : { for subject in account.subjects : "${name} ${subject}" => { name = name, subject = subject } }]...)

  service_account_id = google_service_account.github[each.value.name].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/${data.google_project.this.number}/locations/global/workloadIdentityPools/${google_iam_workload_identity_pool.github.workload_identity_pool_id}/subject/${each.value.subject}"
}

resource "google_project_iam_member" "github" {
  #checkov:skip=CKV_GCP_41:deploying means to run services as their own accounts, which this same identity makes
  #checkov:skip=CKV_GCP_49:deploying means to make service accounts and to grant them what they need
  for_each = merge([for name, account in local.accounts : { for role in account.roles : "${name} ${role}" => { name = name, role = role } }]...)

  project = var.project_id
  role    = each.value.role
  member  = "serviceAccount:${google_service_account.github[each.value.name].email}"
}
