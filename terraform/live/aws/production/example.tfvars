region = "eu-west-1"
images = {
  gateway = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/digits/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  server  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/digits/server@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}
publishers     = ["arn:aws:iam::123456789012:role/trainer"]
auth           = { callers = ["10.0.0.0/8"] }
domain         = { name = "digits.example.com", zone = "Z0123456789ABCDEFGHIJ" }
emails         = ["serving@example.com"]
budget         = { amount = 600 }
model_rollouts = true
capture        = { sampling_rate = 0.01, days = 30 }
