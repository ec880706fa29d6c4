variable "region" {
  description = "Region of everything."
  type        = string
}

variable "images" {
  description = "Images by digest, as the build wrote them."
  type        = object({ gateway = string, server = string })
  default     = null
}

variable "foundation_only" {
  description = "First step of a new environment: no service yet, only what images, keys and models are put into."
  type        = bool
  default     = false
}

variable "publishers" {
  description = "Who may add model versions."
  type        = list(string)
  default     = []
}

variable "auth" {
  description = "Who may call; as in the module."
  type = object({
    public              = optional(bool)
    callers             = optional(list(string))
    api_keys            = optional(bool)
    receipt_key_version = optional(number)
  })
  default = {}
}

variable "emails" {
  description = "Whom alerts are mailed to."
  type        = list(string)
  default     = []
}

variable "domain" {
  description = "The name that callers use, and the Route 53 zone's id or a certificate's ARN."
  type        = object({ name = string, zone = optional(string), certificate_arn = optional(string) })
  default     = null
}

variable "budget" {
  description = "Monthly amount in US dollars."
  type        = object({ amount = number })
  default     = null
}
