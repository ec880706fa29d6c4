terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # Bucket and region come from backend.hcl: terraform init -backend-config=backend.hcl.
  backend "s3" {
    key          = "digits-staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
}

module "serving" {
  source = "../../../modules/aws_serving"

  name                = "digits-staging"
  region              = var.region
  labels              = { service = "digits", environment = "staging" }
  images              = var.images
  foundation_only     = var.foundation_only
  models              = ["digits"]
  scaling             = { min_instances = 1, max_instances = 3 }
  model_store         = { publishers = var.publishers, force_destroy = true }
  auth                = var.auth
  domain              = var.domain
  rollout             = { percent = 100 }
  feedback            = var.feedback
  model_rollouts      = var.model_rollouts
  capture             = var.capture
  alerts              = { emails = var.emails }
  network             = merge(var.network, { nat_gateways = 1 })
  budget              = var.budget
  log_retention_days  = 14
  deletion_protection = false
}
