# GitHub's own tokens, exchanged for short-lived ones of two roles: no keys to keep or to leak.
resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  subjects = {
    # Plans of pull requests and the nightly look for drift.
    plan = ["repo:${var.repository}:environment:${var.environment}-plan"]
    # Jobs of this environment, which GitHub lets run on main and after approval.
    deploy = ["repo:${var.repository}:environment:${var.environment}"]
  }
  account = data.aws_caller_identity.this.account_id
  iam     = "arn:${data.aws_partition.this.partition}:iam::${local.account}"
}

resource "aws_iam_role" "github" {
  for_each = local.subjects

  name                 = "github-${each.key}-${var.environment}"
  description          = "GitHub Actions of ${var.repository}: ${each.key}"
  max_session_duration = each.key == "deploy" ? 7200 : 3600 # a release watches its steps
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = aws_iam_openid_connect_provider.github.arn }
      Condition = { StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = each.value
      } }
    }]
  })
}

# Reads settings of resources; not what is in buckets and secrets.
resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.github["plan"].name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/job-function/ViewOnlyAccess"
}

resource "aws_iam_role_policy" "plan" {
  #checkov:skip=CKV_AWS_355:what a plan reads has no names before it is made
  name = "plan"
  role = aws_iam_role.github["plan"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "State"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:ListBucket"]
        Resource = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      },
      {
        Sid      = "ModelConfig"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectTagging"]
        Resource = "arn:${data.aws_partition.this.partition}:s3:::${var.name}-models-${local.account}-${var.region}/models.config"
      },
      {
        Sid       = "Decrypt"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = "arn:${data.aws_partition.this.partition}:kms:${var.region}:${local.account}:key/*"
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
      },
      {
        Sid    = "Settings"
        Effect = "Allow"
        Action = [
          "budgets:ViewBudget", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource", "ecr:GetLifecyclePolicy",
          "ecr:ListTagsForResource", "ecs:DescribeClusters", "ecs:DescribeServices", "ecs:DescribeTaskDefinition",
          "elasticloadbalancing:Describe*", "iam:GetRolePolicy", "iam:GetRole", "kms:DescribeKey", "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus", "kms:ListResourceTags", "logs:ListTagsForResource", "s3:GetBucket*",
          "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "secretsmanager:DescribeSecret",
          "secretsmanager:GetResourcePolicy", "sns:GetTopicAttributes", "sns:ListTagsForResource",
        ]
        Resource = "*"
      },
    ]
  })
}

resource "aws_iam_role_policy" "deploy" {
  #checkov:skip=CKV_AWS_286:roles are made under the service's name alone and passed to ECS and flow logs alone
  #checkov:skip=CKV_AWS_287:it reads no secret's value; write-only arguments are put
  #checkov:skip=CKV_AWS_288:what deploys a bucket may read it
  #checkov:skip=CKV_AWS_289:what deploys a service manages its permissions
  #checkov:skip=CKV_AWS_290:resources that are made have ids that nobody knows before
  #checkov:skip=CKV_AWS_355:resources that are made have ids that nobody knows before
  name = "deploy"
  role = aws_iam_role.github["deploy"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # The services that aws_serving is made of, in its region alone.
        Sid    = "Services"
        Effect = "Allow"
        Action = [
          "acm:*", "application-autoscaling:*", "cloudwatch:*", "ec2:*", "ecr:*", "ecs:*", "elasticloadbalancing:*", "kms:*",
          "logs:*", "s3:*", "secretsmanager:*", "sns:*",
        ]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
      },
      {
        Sid      = "Global"
        Effect   = "Allow"
        Action   = ["budgets:ModifyBudget", "budgets:ViewBudget", "route53:ChangeResourceRecordSets", "route53:GetChange", "route53:GetHostedZone", "route53:ListResourceRecordSets"]
        Resource = "*"
      },
      {
        Sid    = "Roles"
        Effect = "Allow"
        Action = [
          "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole",
          "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies",
          "iam:PutRolePolicy", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
        ]
        Resource = "${local.iam}:role/${var.name}-*"
      },
      {
        Sid       = "AttachPolicies"
        Effect    = "Allow"
        Action    = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"]
        Resource  = "${local.iam}:role/${var.name}-*"
        Condition = { ArnEquals = { "iam:PolicyARN" = "arn:${data.aws_partition.this.partition}:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers" } }
      },
      {
        Sid       = "PassRoles"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = "${local.iam}:role/${var.name}-*"
        Condition = { StringEquals = { "iam:PassedToService" = ["ecs.amazonaws.com", "ecs-tasks.amazonaws.com", "vpc-flow-logs.amazonaws.com"] } }
      },
      {
        Sid       = "ServiceLinkedRoles"
        Effect    = "Allow"
        Action    = "iam:CreateServiceLinkedRole"
        Resource  = "${local.iam}:role/aws-service-role/*"
        Condition = { StringEquals = { "iam:AWSServiceName" = ["ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"] } }
      },
    ]
  })
}
