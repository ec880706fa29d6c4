# Each run gives several bad values; each of them has to be refused.
mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name   = "digits"
  region = "eu-west-1"
  images = { gateway = "example.com/gateway:1.0.0", server = "example.com/server:1.0.0" }
  models = ["digits"]
  domain = { name = "digits.example.com", zone = "Z35SXDOTRQ7X7K" }
}

run "out_of_form" {
  command = plan
  variables {
    name               = "a-name-of-twenty-five-let"
    region             = "europe-west1"
    images             = { gateway = "example.com/gateway:latest", server = "example.com/server:1.0.0" }
    models             = ["../digits"]
    scaling            = { min_instances = 5, max_instances = 2 }
    resources          = { cpu = 1024, memory = 1024 }
    model_store        = { publishers = ["*"] }
    auth               = { callers = ["everybody"] }
    domain             = { name = "digits", zone = "Z35SXDOTRQ7X7K" }
    settings           = { TENSORGATE_RECEIPT_KEY = "0123456789abcdef" }
    rollout            = { percent = 0 }
    alerts             = { emails = ["nobody"] }
    log_retention_days = 31
    network            = { vpc_id = "vpc-1" }
  }
  expect_failures = [
    var.name, var.region, var.images, var.models, var.scaling, var.resources, var.model_store, var.auth, var.domain, var.settings,
    var.rollout, var.alerts, var.log_retention_days, var.network,
  ]
}

run "missing" {
  command = plan
  variables {
    images = null
    models = []
    domain = null
    auth   = { callers = ["0.0.0.0/0"], receipt_key_fallback = true }
    budget = { amount = 100 }
  }
  expect_failures = [var.images, var.models, var.domain, var.auth, var.budget]
}

run "public_without_keys" {
  command = plan
  variables {
    auth   = { public = true, api_keys = false }
    domain = { name = "digits.example.com" }
  }
  expect_failures = [var.auth, var.domain]
}

run "provider_of_another_region" {
  command = plan
  variables {
    region = "eu-west-2"
  }
  expect_failures = [data.aws_region.this]
}

run "options_out_of_form" {
  command = plan
  variables {
    models         = ["captured"]
    feedback       = { database_url_secret = "postgresql://me:secret@10.0.0.3/feedback", security_group = "default" }
    model_rollouts = true
    model_store    = { loaded_versions = 2 }
    capture        = { sampling_rate = 2 }
    settings       = { TENSORGATE_FEEDBACK__DATABASE_URL = "postgresql://me:secret@10.0.0.3/feedback" }
  }
  expect_failures = [var.feedback, var.model_rollouts, var.capture, var.settings]
}
