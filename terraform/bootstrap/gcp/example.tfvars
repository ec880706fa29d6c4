project_id  = "example-staging"
region      = "europe-west1"
repository  = "example/tensorgate"
environment = "staging"
