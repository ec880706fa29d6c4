locals {
  assume = { for service in ["ecs-tasks", "ecs"] : service => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "${service}.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  }) }
}

# What ECS does to start a task: pull, read the secrets that become variables, write logs.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = local.assume["ecs-tasks"]
  tags               = var.labels
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*" # it takes no other
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [for repository in aws_ecr_repository.this : repository.arn]
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.this : "${group.arn}:*"]
      },
      {
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = concat([aws_secretsmanager_secret.receipt_key.arn], var.feedback[*].database_url_secret)
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = concat([aws_kms_key.this.arn], compact(var.feedback[*].kms_key_arn))
      },
    ]
  })
}

# What the containers do: read models and keys; write the plans of roll-outs and captured requests, if asked to.
locals {
  written = concat(
    var.model_rollouts ? flatten([for model in var.models : ["${model}/rollout.json", "${model}/.rollout/*"]]) : [],
    var.capture == null ? [] : ["captured/*"],
  )
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = local.assume["ecs-tasks"]
  tags               = var.labels
}

resource "aws_iam_role_policy" "task" {
  name = "read-models-and-keys"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = aws_s3_bucket.models.arn
      },
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${aws_s3_bucket.models.arn}/*"
      },
      {
        Sid      = "Keys"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.keys.arn
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = aws_kms_key.this.arn
      },
      ], [for statement in [
        {
          Sid      = "Write"
          Effect   = "Allow"
          Action   = "s3:PutObject"
          Resource = [for name in local.written : "${aws_s3_bucket.models.arn}/${name}"]
        },
        {
          Sid      = "Encrypt"
          Effect   = "Allow"
          Action   = "kms:GenerateDataKey"
          Resource = [for key in [aws_kms_key.this.arn] : key if length(local.written) > 0]
        },
        {
          # The oldest, when there are too many.
          Sid      = "Prune"
          Effect   = "Allow"
          Action   = "s3:DeleteObject"
          Resource = [for name in local.written : "${aws_s3_bucket.models.arn}/${name}" if name == "captured/*"]
        },
    ] : statement if length(statement.Resource) > 0])
  })
}

# What ECS does to move calls from the old tasks to the new.
resource "aws_iam_role" "infrastructure" {
  name               = "${var.name}-ecs"
  assume_role_policy = local.assume["ecs"]
  tags               = var.labels
}

resource "aws_iam_role_policy_attachment" "infrastructure" {
  role       = aws_iam_role.infrastructure.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
}
