bucket = "example-terraform"
region = "eu-west-1"
