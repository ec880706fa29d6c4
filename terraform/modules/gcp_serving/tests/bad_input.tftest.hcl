# Each run gives several bad values; each of them has to be refused.
mock_provider "google" {}

variables {
  name       = "digits"
  project_id = "my-project"
  region     = "europe-west1"
  images     = { gateway = "example.com/gateway:1.0.0", server = "example.com/server:1.0.0" }
  models     = ["digits"]
}

run "out_of_form" {
  command = plan
  variables {
    name        = "a-name-of-twenty-five-let"
    region      = "eu-west-1"
    project_id  = "123456789012"
    images      = { gateway = "example.com/gateway:latest", server = "example.com/server:1.0.0" }
    models      = ["../digits"]
    scaling     = { min_instances = 5, max_instances = 2 }
    model_store = { publishers = ["allUsers"] }
    settings    = { TENSORGATE_RECEIPT_KEY = "0123456789abcdef" }
    rollout     = { stable = "digits-00001-abc", percent = 101 }
    alerts      = { emails = ["nobody"] }
    budget      = { billing_account = "mine", amount = 100 }
  }
  expect_failures = [
    var.name, var.region, var.project_id, var.images, var.models, var.scaling, var.model_store, var.settings, var.rollout,
    var.alerts, var.budget,
  ]
}

run "missing" {
  command = plan
  variables {
    images      = null
    models      = []
    scaling     = { min_instances = 0, max_instances = 0 }
    model_store = { loaded_versions = 0 }
    settings    = { LIMITS__MAX_INSTANCES = "64" }
    alerts      = { error_ratio = 5 }
  }
  expect_failures = [var.images, var.models, var.scaling, var.model_store, var.settings, var.alerts]
}

run "public_must_be_meant" {
  command = plan
  variables {
    auth   = { callers = ["allUsers"], receipt_key_fallback = true }
    images = { gateway = "localhost:5000/gateway", server = "example.com/server:1.0.0" }
  }
  expect_failures = [var.auth, var.images]
}

run "public_without_keys" {
  command = plan
  variables {
    auth   = { public = true, api_keys = false }
    images = { gateway = "example.com/gateway@sha256:abc", server = "example.com/server:1.0.0" }
  }
  expect_failures = [var.auth, var.images]
}

run "domain_of_a_private_service" {
  command = plan
  variables {
    domain = { name = "digits.example.com" }
  }
  expect_failures = [var.domain]
}

run "options_out_of_form" {
  command = plan
  variables {
    models         = ["captured"]
    feedback       = { database_url_secret = "postgresql://me:secret@10.0.0.3/feedback" }
    model_rollouts = true
    model_store    = { loaded_versions = 2 }
    capture        = { sampling_rate = 2 }
    settings       = { TENSORGATE_FEEDBACK__DATABASE_URL = "postgresql://me:secret@10.0.0.3/feedback" }
  }
  expect_failures = [var.feedback, var.model_rollouts, var.capture, var.settings]
}
