output "endpoint" {
  description = "host:port of the gateway, gRPC over TLS."
  value       = module.serving.endpoint
}

output "address" {
  description = "What a DNS record of one's own points at."
  value       = module.serving.address
}

output "identities" {
  description = "Whom the service runs as."
  value       = module.serving.identities
}

output "model_store" {
  description = "URL that models are published under."
  value       = module.serving.model_store
}

output "registry" {
  description = "Prefix of the names that images are pushed under."
  value       = module.serving.registry
}

output "images" {
  description = "The images that run."
  value       = module.serving.images
}

output "revision" {
  description = "What runs, for a roll-out or a rollback to name."
  value       = module.serving.revision
}

output "commands" {
  description = "What is done by hand."
  value       = module.serving.commands
}
