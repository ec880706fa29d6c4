mock_provider "google" {}

variables {
  name           = "digits"
  project_id     = "my-project"
  region         = "europe-west1"
  images         = { gateway = "example.com/gateway:1.0.0", server = "example.com/server:1.0.0" }
  models         = ["digits"]
  keys_secret_id = "digits-keys"
}

run "private_and_wired" {
  command = plan

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.invokers) == 0
    error_message = "Nobody may call a service that names no invokers."
  }
  assert {
    condition     = google_storage_bucket.models.public_access_prevention == "enforced"
    error_message = "The model store is never public."
  }
  assert {
    condition     = google_cloud_run_v2_service.this.template[0].containers[0].ports[0].name == "h2c"
    error_message = "gRPC needs HTTP/2 end to end."
  }
  assert {
    condition = contains(
      [for env in google_cloud_run_v2_service.this.template[0].containers[0].env : env.value if env.name == "TENSORGATE_BACKEND__ADDRESS"],
      "127.0.0.1:8500"
    ) && contains(google_cloud_run_v2_service.this.template[0].containers[1].args, "--port=8500")
    error_message = "The gateway asks the server on the port that it listens on."
  }
}

run "public_must_be_meant" {
  command = plan
  variables {
    invokers = ["allUsers"]
  }
  expect_failures = [google_cloud_run_v2_service_iam_member.invokers]
}

run "unpinned_image" {
  command = plan
  variables {
    images = { gateway = "example.com/gateway:latest", server = "example.com/server:1.0.0" }
  }
  expect_failures = [var.images]
}

run "scaling_upside_down" {
  command = plan
  variables {
    scaling = { min_instances = 5, max_instances = 2 }
  }
  expect_failures = [var.scaling]
}
