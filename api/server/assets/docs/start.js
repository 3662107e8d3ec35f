// Draws the description. Nothing is loaded from elsewhere: no validator is asked.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  displayOperationId: true,
  filter: true,
  validatorUrl: null,
});
