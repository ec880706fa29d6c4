resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.labels

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_service" "this" {
  count = length(aws_ecs_task_definition.this)

  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this[0].arn
  launch_type                        = "FARGATE"
  desired_count                      = var.scaling.min_instances
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = true # an apply fails where the deployment does
  tags                               = var.labels

  network_configuration {
    subnets          = local.task_subnets
    security_groups  = [aws_security_group.this["task"].id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this["blue"].arn
    container_name   = "gateway"
    container_port   = local.grpc_port

    advanced_configuration {
      alternate_target_group_arn = aws_lb_target_group.this["green"].arn
      production_listener_rule   = aws_lb_listener_rule.this[0].arn
      role_arn                   = aws_iam_role.infrastructure.arn
    }
  }

  deployment_configuration {
    strategy             = var.rollout.percent == 100 ? "BLUE_GREEN" : "CANARY"
    bake_time_in_minutes = var.rollout.bake_minutes

    dynamic "canary_configuration" {
      for_each = var.rollout.percent == 100 ? [] : [var.rollout]
      content {
        canary_percent              = canary_configuration.value.percent
        canary_bake_time_in_minutes = canary_configuration.value.canary_minutes
      }
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  alarms {
    alarm_names = [for name in ["errors", "latency"] : aws_cloudwatch_metric_alarm.this[name].alarm_name]
    enable      = true
    rollback    = true
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }
  depends_on = [
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_iam_role_policy_attachment.infrastructure,
    aws_vpc_security_group_ingress_rule.this,
    aws_vpc_security_group_egress_rule.this,
    aws_s3_object.model_config,
  ]
}

resource "aws_appautoscaling_target" "this" {
  count = length(aws_ecs_service.this)

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this[0].name}"
  min_capacity       = var.scaling.min_instances
  max_capacity       = var.scaling.max_instances
  tags               = var.labels
}

resource "aws_appautoscaling_policy" "cpu" {
  count = length(aws_appautoscaling_target.this)

  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.cpu_percent
    scale_out_cooldown = 30
    scale_in_cooldown  = 300
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# Requests per target, of both target groups: ALBRequestCountPerTarget looks at one, and after a deployment the calls go to the other.
resource "aws_appautoscaling_policy" "calls" {
  count = length(aws_appautoscaling_target.this)

  name               = "calls"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.calls_per_minute
    scale_out_cooldown = 30
    scale_in_cooldown  = 300
    customized_metric_specification {
      metrics {
        id          = "calls_per_task"
        label       = "Calls a minute of each task"
        expression  = "calls / tasks"
        return_data = true
      }
      metrics {
        id          = "calls"
        return_data = false
        metric_stat {
          stat = "Sum"
          metric {
            namespace   = "AWS/ApplicationELB"
            metric_name = "RequestCount"
            dimensions {
              name  = "LoadBalancer"
              value = aws_lb.this[0].arn_suffix
            }
          }
        }
      }
      metrics {
        id          = "tasks"
        return_data = false
        metric_stat {
          stat = "Average"
          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"
            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.this.name
            }
            dimensions {
              name  = "ServiceName"
              value = aws_ecs_service.this[0].name
            }
          }
        }
      }
    }
  }
}
