using System.Runtime.Versioning;
using Kmsctl.Commands;

[assembly: SupportedOSPlatform("linux")]

return await CommandTree.RunAsync(args);
