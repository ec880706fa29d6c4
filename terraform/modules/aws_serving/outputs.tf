output "endpoint" {
  description = "host:port of the gateway, gRPC over TLS; null while there is no service."
  value       = var.foundation_only ? null : "${var.domain.name}:443"
  depends_on  = [aws_ecs_service.this, aws_route53_record.this]
}

output "address" {
  description = "DNS name of the load balancer, for a record of one's own where domain names no zone; null while there is no service."
  value       = one(aws_lb.this[*].dns_name)
}

output "identities" {
  description = "Whom the containers run as, and who starts them."
  value       = { service = aws_iam_role.task.arn, execution = aws_iam_role.execution.arn }
}

output "model_store" {
  description = "URL that models are published under, as <model_store>/<name>/<version>/."
  value       = "s3://${aws_s3_bucket.models.id}"
  depends_on  = [aws_s3_bucket_policy.models]
}

output "registry" {
  description = "Prefix of the names that images are pushed under."
  value       = trimsuffix(aws_ecr_repository.this["gateway"].repository_url, "/gateway")
}

output "images" {
  description = "What runs, for a deployment to keep or to go back to; null while there is no service."
  value       = var.foundation_only ? null : var.images
}

output "revision" {
  description = "The newest task definition; null while there is no service."
  value       = one(aws_ecs_task_definition.this[*].arn)
}

output "commands" {
  description = "What is done by hand."
  value = {
    add_keys      = "aws secretsmanager put-secret-value --region ${var.region} --secret-id ${aws_secretsmanager_secret.keys.name} --secret-string file://var/keys.json"
    docker_login  = "aws ecr get-login-password --region ${var.region} | docker login --username AWS --password-stdin ${split("/", aws_ecr_repository.this["gateway"].repository_url)[0]}"
    publish_model = "aws s3 cp --recursive --exclude saved_model.pb var/models/MODEL/VERSION s3://${aws_s3_bucket.models.id}/MODEL/VERSION && aws s3 cp var/models/MODEL/VERSION/saved_model.pb s3://${aws_s3_bucket.models.id}/MODEL/VERSION/"
    logs          = "aws logs tail --region ${var.region} --since 1h /tensorgate/${var.name}/gateway"
    rollback      = "aws ecs stop-service-deployment --region ${var.region} --service-deployment-arn DEPLOYMENT --stop-type ROLLBACK"
  }
}
