locals {
  certified = [for domain in local.domains : domain if domain.certificate_arn == null]
  domains   = var.foundation_only ? [] : [var.domain]
}

resource "aws_acm_certificate" "this" {
  count = length(local.certified)

  domain_name       = local.certified[0].name
  validation_method = "DNS"
  tags              = var.labels

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  count = length(local.certified)

  zone_id         = local.certified[0].zone
  name            = one(aws_acm_certificate.this[0].domain_validation_options[*].resource_record_name)
  type            = one(aws_acm_certificate.this[0].domain_validation_options[*].resource_record_type)
  records         = aws_acm_certificate.this[0].domain_validation_options[*].resource_record_value
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  count = length(local.certified)

  certificate_arn         = aws_acm_certificate.this[0].arn
  validation_record_fqdns = aws_route53_record.validation[*].fqdn
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:var.deletion_protection, which staging leaves out so that it can be taken down
  #checkov:skip=CKV2_AWS_28:a web application firewall reads no gRPC; the gateway limits callers by their keys
  #checkov:skip=CKV2_AWS_20:there is no HTTP listener to redirect from
  count = length(local.domains)

  name                       = var.name
  load_balancer_type         = "application"
  internal                   = !var.auth.public
  subnets                    = local.load_balancer_subnets
  security_groups            = [aws_security_group.this["load_balancer"].id]
  drop_invalid_header_fields = true
  idle_timeout               = 300 # a stream may be silent for a while
  enable_deletion_protection = var.deletion_protection
  tags                       = var.labels

  access_logs {
    bucket  = aws_s3_bucket.access_logs.id
    enabled = true
  }

  depends_on = [aws_s3_bucket_policy.access_logs]
}

# ECS moves calls from one to the other at each deployment.
resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there to the task the calls stay in the private subnets
  for_each = toset(["blue", "green"])

  name                          = "${var.name}-${each.key}"
  vpc_id                        = local.vpc_id
  port                          = local.grpc_port
  protocol                      = "HTTP"
  protocol_version              = "GRPC"
  target_type                   = "ip"
  load_balancing_algorithm_type = "least_outstanding_requests"
  deregistration_delay          = 30
  tags                          = var.labels

  # The gateway starts after its server has loaded the models; that it is not SERVING would show in the answer's body, which
  # the load balancer does not read.
  health_check {
    path                = "/grpc.health.v1.Health/Check"
    matcher             = "0"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "this" {
  count = length(local.domains)

  load_balancer_arn = aws_lb.this[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = local.domains[0].certificate_arn == null ? aws_acm_certificate_validation.this[0].certificate_arn : local.domains[0].certificate_arn
  tags              = var.labels

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "this" {
  count = length(local.domains)

  listener_arn = aws_lb_listener.this[0].arn
  priority     = 100
  tags         = var.labels

  condition {
    path_pattern {
      values = ["/*"]
    }
  }
  action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.this["blue"].arn
        weight = 100
      }
      target_group {
        arn    = aws_lb_target_group.this["green"].arn
        weight = 0
      }
    }
  }
  lifecycle {
    ignore_changes = [action] # the weights are ECS's
  }
}

resource "aws_route53_record" "this" {
  count = length([for domain in local.domains : domain if domain.zone != null])

  zone_id = local.domains[0].zone
  name    = local.domains[0].name
  type    = "A"

  alias {
    name                   = aws_lb.this[0].dns_name
    zone_id                = aws_lb.this[0].zone_id
    evaluate_target_health = true
  }
}

resource "aws_s3_bucket" "access_logs" {
  #checkov:skip=CKV_AWS_18:it holds the logs
  #checkov:skip=CKV_AWS_21:logs are written once
  #checkov:skip=CKV_AWS_144:logs of one region stay there
  #checkov:skip=CKV_AWS_145:load balancers write with the keys that S3 manages, and no others
  #checkov:skip=CKV2_AWS_62:nothing waits for an event
  bucket        = "${var.name}-calls-${data.aws_caller_identity.this.account_id}-${var.region}"
  force_destroy = !var.deletion_protection
  tags          = var.labels
}

resource "aws_s3_bucket_public_access_block" "access_logs" {
  bucket                  = aws_s3_bucket.access_logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.log_retention_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Write"
        Effect    = "Allow"
        Action    = "s3:PutObject"
        Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
        Resource  = "${aws_s3_bucket.access_logs.arn}/AWSLogs/${data.aws_caller_identity.this.account_id}/*"
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Action    = "s3:*"
        Principal = "*"
        Resource  = [aws_s3_bucket.access_logs.arn, "${aws_s3_bucket.access_logs.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
  depends_on = [aws_s3_bucket_public_access_block.access_logs]
}
