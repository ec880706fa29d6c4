variable "name" {
  description = "Name of the network and prefix of what belongs to it."
  type        = string
}

variable "cidr" {
  description = "Addresses of the network: a /16 to /24 of a private range."
  type        = string
  default     = "10.80.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 24, false)
    error_message = "cidr looks like 10.80.0.0/16, and is a /16 to /24."
  }
}

variable "nat_gateways" {
  description = "Ways out: 1, or 2 for one in each zone, so that a zone's loss leaves the other's tasks theirs."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2], var.nat_gateways)
    error_message = "nat_gateways is 1 or 2."
  }
}

variable "log_group_arn" {
  description = "Log group that the rejected connections are written to."
  type        = string
}

variable "labels" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
