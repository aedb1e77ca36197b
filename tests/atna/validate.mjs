// Validates resources of FHIR R4, one a line on standard input, with the package "fhir": structure, required codes, nothing
// unexpected. Prints a line of JSON for each that is wrong; the last line says how many there were.
import { createInterface } from "node:readline";
import fhir from "fhir";

const validator = new fhir.Fhir();
let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const resource = JSON.parse(line);
  const result = validator.validate(resource, { errorOnUnexpected: true });
  const errors = result.messages.filter((message) => ["error", "fatal"].includes(message.severity));
  if (!result.valid || errors.length > 0) {
    console.log(JSON.stringify({ id: resource.id, type: resource.resourceType, errors }));
  }
  count += 1;
}
console.log(JSON.stringify({ count }));
