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

run "private_and_wired" {
  assert {
    condition     = aws_lb.this[0].internal
    error_message = "The internet does not reach a service that is not public."
  }
  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.this : rule.description] == ["gateway from load balancer"]
    error_message = "Nobody reaches a service that names no callers, and the tasks are reached through the load balancer alone."
  }
  assert {
    condition     = !one(aws_ecs_service.this[0].network_configuration).assign_public_ip
    error_message = "Tasks have no public addresses."
  }
  assert {
    condition = alltrue([
      for block in [aws_s3_bucket_public_access_block.models, aws_s3_bucket_public_access_block.access_logs] :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "No bucket is public."
  }
  assert {
    condition     = aws_lb_listener.this[0].protocol == "HTTPS" && startswith(aws_lb_listener.this[0].ssl_policy, "ELBSecurityPolicy-TLS13")
    error_message = "TLS 1.2 at least, 1.3 at best."
  }
  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.this[0].container_definitions) : container.name] == ["gateway", "server", "sync"]
    error_message = "The gateway, the server, and what brings its models."
  }
  assert {
    condition = (
      { for e in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].environment : e.name => e.value }["TENSORGATE_BACKEND__ADDRESS"] == "127.0.0.1:8500" &&
      contains(jsondecode(aws_ecs_task_definition.this[0].container_definitions)[1].command, "--port=8500")
    )
    error_message = "The gateway asks the server on the port that it listens on."
  }
  assert {
    condition = (
      { for e in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].environment : e.name => e.value }["TENSORGATE_LISTEN"] == "0.0.0.0:50051" &&
      jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].portMappings[0].containerPort == 50051 &&
      one(aws_ecs_service.this[0].load_balancer).container_port == 50051 &&
      alltrue([for group in aws_lb_target_group.this : group.port == 50051 && group.protocol_version == "GRPC" && group.health_check[0].matcher == "0"])
    )
    error_message = "The load balancer calls, and asks the health of, the port that the gateway listens on."
  }
  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].dependsOn == [{ containerName = "server", condition = "HEALTHY" }] &&
      jsondecode(aws_ecs_task_definition.this[0].container_definitions)[1].dependsOn == [{ containerName = "sync", condition = "HEALTHY" }] &&
      alltrue([for container in jsondecode(aws_ecs_task_definition.this[0].container_definitions) : can(container.healthCheck.command)])
    )
    error_message = "Models first, then the server, then the gateway; each is asked whether it is well."
  }
  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.this[0].container_definitions) : container.readonlyRootFilesystem && alltrue([
        for mount in container.mountPoints : mount.readOnly == (container.name != "sync")
      ])
    ])
    error_message = "Only what brings the models writes, and only to the volumes."
  }
  assert {
    condition     = one(aws_ecs_service.this[0].deployment_circuit_breaker).rollback && one(aws_ecs_service.this[0].alarms).rollback && one(aws_ecs_service.this[0].deployment_configuration).strategy == "CANARY"
    error_message = "A deployment that fails, or that sets off an alarm, is rolled back."
  }
  assert {
    condition = (
      [for secret in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].secrets : secret.name] == ["TENSORGATE_RECEIPT_KEY"] &&
      startswith(jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].secrets[0].valueFrom, "arn:aws:secretsmanager:")
    )
    error_message = "The receipt key comes from Secrets Manager."
  }
  assert {
    condition     = aws_secretsmanager_secret_version.receipt_key.secret_string == null && aws_secretsmanager_secret_version.receipt_key.secret_string_wo == null
    error_message = "No secret's value is in the state."
  }
  assert {
    condition = (
      !anytrue([for env in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].environment : can(regex("FEEDBACK|ROLLOUT|CAPTURE", env.name))]) &&
      length(aws_s3_bucket_lifecycle_configuration.models.rule) == 1 &&
      strcontains(aws_s3_object.model_config.content, "num_versions: 2")
    )
    error_message = "Labels, roll-outs of versions and captured requests are off."
  }
}

run "least_rights" {
  variables {
    model_store = { publishers = ["arn:aws:iam::123456789012:role/trainer"] }
  }
  assert {
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.task, aws_iam_role_policy.execution] : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in flatten([statement.Action]) : !strcontains(action, "*") && (statement.Resource != "*" || action == "ecr:GetAuthorizationToken")
        ]
      ]
    ]))
    error_message = "No action is a wildcard, and no resource is but where AWS takes no other."
  }
  assert {
    condition     = !anytrue([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : strcontains(jsonencode(statement.Action), "Put") || strcontains(jsonencode(statement.Action), "Delete")])
    error_message = "The containers read."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_s3_bucket_policy.models.policy).Statement :
      statement.Effect == "Deny" || jsonencode(statement.Principal) == jsonencode({ AWS = ["arn:aws:iam::123456789012:role/trainer"] })
    ])
    error_message = "Publishers, and nobody else, may write models."
  }
}

run "feedback_rollouts_and_capture" {
  variables {
    feedback = {
      database_url_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:feedback-a1b2c3"
      kms_key_arn         = "arn:aws:kms:eu-west-1:123456789012:key/feedback"
      security_group      = "sg-0123456789abcdef0"
    }
    auth           = { receipt_key_version = 2, receipt_key_fallback = true }
    models         = ["digits", "letters"]
    model_rollouts = true
    capture        = { sampling_rate = 0.05, days = 7 }
  }
  assert {
    condition = { for secret in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].secrets : secret.name => secret.valueFrom } == {
      TENSORGATE_RECEIPT_KEY            = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:receipt-a1b2c3"
      TENSORGATE_RECEIPT_KEY_FALLBACKS  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:secret-a1b2c3::AWSPREVIOUS:"
      TENSORGATE_FEEDBACK__DATABASE_URL = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:feedback-a1b2c3"
    }
    error_message = "The database's URL comes from Secrets Manager, and what the key before signed is still taken."
  }
  assert {
    condition = alltrue([
      for arn in ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:feedback-a1b2c3", "arn:aws:kms:eu-west-1:123456789012:key/feedback"] :
      contains(flatten([for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource]), arn)
    ])
    error_message = "Whoever starts the tasks may read and decrypt the secret."
  }
  assert {
    condition = (
      aws_vpc_security_group_egress_rule.this["gateway to database"].referenced_security_group_id == "sg-0123456789abcdef0" &&
      aws_vpc_security_group_ingress_rule.this["database from gateway"].security_group_id == "sg-0123456789abcdef0" &&
      aws_vpc_security_group_ingress_rule.this["database from gateway"].from_port == 5432
    )
    error_message = "The tasks reach the database, on its port alone."
  }
  assert {
    condition = alltrue([
      for name, value in {
        TENSORGATE_ROLLOUT__PLANS         = "s3://bucket"
        TENSORGATE_ROLLOUT__REPLICAS      = "10"
        TENSORGATE_CAPTURE__PATH          = "s3://bucket/captured"
        TENSORGATE_CAPTURE__SAMPLING_RATE = "0.05"
      } : { for env in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0].environment : env.name => env.value }[name] == value
    ])
    error_message = "Plans and captured requests are kept in the model store, and a verdict is shared by all tasks that there may be."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Sid => toset(statement.Resource) if contains(["Write", "Prune"], statement.Sid)
      } == {
      Write = toset([for name in ["digits/rollout.json", "digits/.rollout/*", "letters/rollout.json", "letters/.rollout/*", "captured/*"] : "arn:aws:s3:::bucket/${name}"])
      Prune = toset(["arn:aws:s3:::bucket/captured/*"])
    }
    error_message = "The containers write plans and captured requests, and no model."
  }
  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.models.rule : rule.expiration[0].days if rule.id == "expire-captured"] == [7]
    error_message = "What is captured is kept as long as asked."
  }
  assert {
    condition = (
      strcontains(aws_s3_object.model_config.content, "num_versions: 3") &&
      { for env in jsondecode(aws_ecs_task_definition.this[0].container_definitions)[2].environment : env.name => env.value }["LOADED_VERSIONS"] == "3"
    )
    error_message = "The stable version stays loaded while another is published beside the candidate."
  }
}

run "public" {
  variables {
    auth   = { public = true, callers = ["0.0.0.0/0", "sg-0123456789abcdef0"] }
    domain = { name = "digits.example.com", certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/mine" }
    alerts = { emails = ["team@example.com"] }
    budget = { amount = 300 }
  }
  assert {
    condition     = !aws_lb.this[0].internal && toset([for rule in aws_vpc_security_group_ingress_rule.this : rule.from_port if rule.description != "gateway from load balancer"]) == toset([443])
    error_message = "Whoever may call reaches port 443 and no other."
  }
  assert {
    condition     = aws_lb_listener.this[0].certificate_arn == "arn:aws:acm:eu-west-1:123456789012:certificate/mine" && length(aws_acm_certificate.this) == 0 && length(aws_route53_record.this) == 0
    error_message = "A certificate that there is, is used."
  }
  assert {
    condition     = length(aws_sns_topic_subscription.email) == 1 && aws_budgets_budget.this[0].limit_amount == "300"
    error_message = "Alarms and the budget are told to somebody."
  }
}

run "existing_network" {
  variables {
    network = { vpc_id = "vpc-1", task_subnet_ids = ["subnet-1", "subnet-2"], load_balancer_subnet_ids = ["subnet-3", "subnet-4"] }
    rollout = { percent = 100 }
  }
  assert {
    condition     = length(module.network) == 0 && toset(aws_lb.this[0].subnets) == toset(["subnet-3", "subnet-4"]) && toset(one(aws_ecs_service.this[0].network_configuration).subnets) == toset(["subnet-1", "subnet-2"])
    error_message = "A network that there is, is used."
  }
  assert {
    condition     = one(aws_ecs_service.this[0].deployment_configuration).strategy == "BLUE_GREEN"
    error_message = "All at once is blue/green."
  }
}

run "foundation_only" {
  variables {
    images          = null
    domain          = null
    foundation_only = true
  }
  assert {
    condition     = length(aws_ecs_service.this) == 0 && length(aws_lb.this) == 0 && output.endpoint == null && length(aws_ecr_repository.this) == 2
    error_message = "What images, keys and models are put into is there before the service."
  }
}
