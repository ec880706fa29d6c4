region      = "eu-west-1"
name        = "digits-staging"
repository  = "example/tensorgate"
environment = "staging"
