output "state_bucket" {
  description = "For backend.hcl."
  value       = aws_s3_bucket.state.id
  depends_on  = [aws_s3_bucket_policy.state]
}

output "roles" {
  description = "For the workflows: variables AWS_PLAN_ROLE and AWS_DEPLOY_ROLE."
  value       = { for name, role in aws_iam_role.github : name => role.arn }
  depends_on  = [aws_iam_role_policy.deploy, aws_iam_role_policy.plan]
}
