import { App, Validations } from "aws-cdk-lib"
import { AwsSolutionsChecks } from "cdk-nag"
import { readContext } from "../lib/context.ts"
import { SealwrightStack } from "../lib/stacks/sealwright-stack.ts"

const app = new App()
const { stackName, ...settings } = readContext((key) => app.node.tryGetContext(key))
new SealwrightStack(app, stackName, { settings })
Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
