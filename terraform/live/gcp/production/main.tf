terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }

  # The bucket comes from backend.hcl: terraform init -backend-config=backend.hcl. Locking is the bucket's own.
  backend "gcs" {
    prefix = "digits"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

module "serving" {
  source = "../../../modules/gcp_serving"

  name                = "digits"
  project_id          = var.project_id
  region              = var.region
  labels              = { service = "digits", environment = "production" }
  images              = var.images
  foundation_only     = var.foundation_only
  models              = ["digits"]
  scaling             = { min_instances = 2, max_instances = 20 }
  model_store         = { publishers = var.publishers, force_destroy = false }
  auth                = var.auth
  domain              = var.domain
  rollout             = var.rollout
  feedback            = var.feedback
  model_rollouts      = var.model_rollouts
  capture             = var.capture
  alerts              = { emails = var.emails }
  network             = var.network
  budget              = var.budget
  log_retention_days  = 90
  deletion_protection = true
}
