resource "aws_s3_bucket" "models" {
  #checkov:skip=CKV_AWS_144:a bucket of one region serves one region; versions can be published again from the trainer's registry
  #checkov:skip=CKV_AWS_18:CloudTrail tells who read and wrote; server access logs add nothing to it
  #checkov:skip=CKV2_AWS_62:nothing waits for an event; tasks poll
  bucket        = "${var.name}-models-${data.aws_caller_identity.this.account_id}-${var.region}"
  force_destroy = var.model_store.force_destroy
  tags          = var.labels
}

resource "aws_s3_bucket_versioning" "models" {
  bucket = aws_s3_bucket.models.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "models" {
  bucket                  = aws_s3_bucket.models.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "models" {
  bucket = aws_s3_bucket.models.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "models" {
  bucket = aws_s3_bucket.models.id
  rule {
    id     = "tidy"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.model_store.noncurrent_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
  dynamic "rule" {
    for_each = var.capture == null ? [] : [var.capture]
    content {
      id     = "expire-captured"
      status = "Enabled"
      filter {
        prefix = "captured/"
      }
      expiration {
        days = rule.value.days
      }
    }
  }
  depends_on = [aws_s3_bucket_versioning.models]
}

resource "aws_s3_bucket_policy" "models" {
  bucket = aws_s3_bucket.models.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Action    = "s3:*"
      Principal = "*"
      Resource  = [aws_s3_bucket.models.arn, "${aws_s3_bucket.models.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }], [for statement in [
      {
        # They add; a published version's files are kept by the bucket's versioning whatever is put over them.
        Sid       = "Publish"
        Effect    = "Allow"
        Action    = ["s3:PutObject", "s3:GetObject"]
        Principal = { AWS = var.model_store.publishers }
        Resource  = "${aws_s3_bucket.models.arn}/*"
      },
      {
        Sid       = "List"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Principal = { AWS = var.model_store.publishers }
        Resource  = aws_s3_bucket.models.arn
      },
    ] : statement if length(var.model_store.publishers) > 0])
  })
  depends_on = [aws_s3_bucket_public_access_block.models]
}

# Tasks fetch it with the models, and the server reads it again.
resource "aws_s3_object" "model_config" {
  bucket     = aws_s3_bucket.models.id
  key        = "models.config"
  kms_key_id = aws_kms_key.this.arn
  content = templatefile("${path.module}/models.config.tftpl", {
    path            = local.models_path
    models          = var.models
    loaded_versions = local.loaded_versions
  })
  depends_on = [aws_s3_bucket_versioning.models, aws_s3_bucket_server_side_encryption_configuration.models]
}

resource "aws_ecr_repository" "this" {
  for_each = toset(["gateway", "server"])

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.model_store.force_destroy
  tags                 = var.labels

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last 20"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}
