module "network" {
  source = "../aws_network"
  count  = var.network.vpc_id == null ? 1 : 0

  name          = var.name
  cidr          = var.network.cidr
  nat_gateways  = var.network.nat_gateways
  log_group_arn = aws_cloudwatch_log_group.this["network"].arn
  labels        = var.labels
}

locals {
  vpc_id                = var.network.vpc_id == null ? module.network[0].vpc_id : var.network.vpc_id
  task_subnets          = var.network.vpc_id == null ? module.network[0].private_subnet_ids : var.network.task_subnet_ids
  load_balancer_subnets = var.network.vpc_id != null ? var.network.load_balancer_subnet_ids : var.auth.public ? module.network[0].public_subnet_ids : module.network[0].private_subnet_ids

  groups = { for name, group in aws_security_group.this : name => group.id }

  # One rule each, and no rule that another holds.
  rules = merge(
    { for caller in var.auth.callers : "call from ${caller}" => {
      group = local.groups.load_balancer, direction = "in", port = 443, cidr = startswith(caller, "sg-") ? null : caller, peer = startswith(caller, "sg-") ? caller : null
    } },
    {
      "load balancer to gateway"   = { group = local.groups.load_balancer, direction = "out", port = local.grpc_port, cidr = null, peer = local.groups.task }
      "gateway from load balancer" = { group = local.groups.task, direction = "in", port = local.grpc_port, cidr = null, peer = local.groups.load_balancer }
      "AWS services"               = { group = local.groups.task, direction = "out", port = 443, cidr = "0.0.0.0/0", peer = null }
    },
    var.feedback == null ? {} : {
      "gateway to database"   = { group = local.groups.task, direction = "out", port = 5432, cidr = null, peer = var.feedback.security_group }
      "database from gateway" = { group = var.feedback.security_group, direction = "in", port = 5432, cidr = null, peer = local.groups.task }
    },
  )
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:they are attached, by way of a map that checkov does not follow
  for_each = { load_balancer = "Who may call ${var.name}", task = "The tasks of ${var.name}" }

  name_prefix = "${var.name}-${replace(each.key, "_", "-")}-"
  description = each.value
  vpc_id      = local.vpc_id
  tags        = merge(var.labels, { Name = "${var.name}-${replace(each.key, "_", "-")}" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = { for name, rule in local.rules : name => rule if rule.direction == "in" }

  security_group_id            = each.value.group
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.cidr
  referenced_security_group_id = each.value.peer
  tags                         = var.labels
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = { for name, rule in local.rules : name => rule if rule.direction == "out" }

  security_group_id            = each.value.group
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.cidr
  referenced_security_group_id = each.value.peer
  tags                         = var.labels
}
