output "vpc_id" {
  description = "Id of the network."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets that the internet reaches, one in each of two zones."
  value       = aws_subnet.public[*].id
  depends_on  = [aws_route_table_association.public]
}

output "private_subnet_ids" {
  description = "Subnets with a way out and none in, one in each of two zones."
  value       = aws_subnet.private[*].id
  depends_on  = [aws_route_table_association.private, aws_vpc_endpoint.s3]
}
