bucket = "example-terraform"
