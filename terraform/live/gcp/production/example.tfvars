project_id = "example-production"
region     = "europe-west1"
images = {
  gateway = "europe-west1-docker.pkg.dev/example-production/digits/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  server  = "europe-west1-docker.pkg.dev/example-production/digits/server@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}
publishers     = ["serviceAccount:trainer@example-production.iam.gserviceaccount.com"]
auth           = { public = true, callers = ["serviceAccount:orders@example-production.iam.gserviceaccount.com"] }
domain         = { name = "digits.example.com", zone = "example" }
emails         = ["serving@example.com"]
budget         = { billing_account = "012345-6789AB-CDEF01", amount = 500 }
network        = { network = "example", subnetwork = "example-serving" }
feedback       = { database_url_secret = "digits-feedback" }
model_rollouts = true
capture        = { sampling_rate = 0.01, days = 30 }
