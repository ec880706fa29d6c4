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
    key          = "digits.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
}

module "serving" {
  source = "../../../modules/aws_serving"

  name                = "digits"
  region              = var.region
  labels              = { service = "digits", environment = "production" }
  images              = var.images
  foundation_only     = var.foundation_only
  models              = ["digits"]
  scaling             = { min_instances = 2, max_instances = 20 }
  model_store         = { publishers = var.publishers, force_destroy = false }
  auth                = var.auth
  domain              = var.domain
  rollout             = { percent = 10 }
  feedback            = var.feedback
  model_rollouts      = var.model_rollouts
  capture             = var.capture
  alerts              = { emails = var.emails }
  network             = merge(var.network, { nat_gateways = 2 })
  budget              = var.budget
  log_retention_days  = 90
  deletion_protection = true
}
