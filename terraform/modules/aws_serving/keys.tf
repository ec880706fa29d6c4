data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

data "aws_region" "this" {
  lifecycle {
    postcondition {
      condition     = self.region == var.region
      error_message = "region is ${var.region}, but the provider is set to ${self.region}: the two have to be the same."
    }
  }
}

locals {
  root = "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:root"
}

# One key for what the service keeps: models, images, secrets, logs, alarms.
resource "aws_kms_key" "this" {
  #checkov:skip=CKV_AWS_33:no statement is open to everybody; the resource of a key's policy is always the key itself
  description             = "tensorgate ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.labels

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "Account" # without it nobody could manage the key, ever
        Effect    = "Allow"
        Action    = "kms:*"
        Resource  = "*"
        Principal = { AWS = local.root }
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
        Resource  = "*"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${data.aws_partition.this.partition}:logs:${var.region}:${data.aws_caller_identity.this.account_id}:log-group:/tensorgate/${var.name}/*" } }
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
      },
      ], [for statement in [{
        Sid       = "Publishers"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Principal = { AWS = var.model_store.publishers }
    }] : statement if length(var.model_store.publishers) > 0])
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

# The keys file is added from outside (output `commands`), so that no key is in a plan or a state.
resource "aws_secretsmanager_secret" "keys" {
  #checkov:skip=CKV2_AWS_57:keys are made and withdrawn for callers, which no rotation function can do for them
  name                    = "${var.name}-keys"
  description             = "The gateway's keys file"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
  tags                    = var.labels
}

resource "aws_secretsmanager_secret" "receipt_key" {
  #checkov:skip=CKV2_AWS_57:a new key makes old receipts worthless, so that somebody has to mean it: auth.receipt_key_version
  name                    = "${var.name}-receipt-key"
  description             = "Signs prediction ids"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
  tags                    = var.labels
}

# Ephemeral and write-only: made here, known to Secrets Manager alone.
ephemeral "random_password" "receipt_key" {
  length  = 48
  special = false
}

resource "aws_secretsmanager_secret_version" "receipt_key" {
  secret_id                = aws_secretsmanager_secret.receipt_key.id
  secret_string_wo         = ephemeral.random_password.receipt_key.result
  secret_string_wo_version = var.auth.receipt_key_version
}
