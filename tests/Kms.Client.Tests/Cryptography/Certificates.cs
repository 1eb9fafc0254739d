using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;

namespace Kms.Client.Tests.Cryptography;

/// <summary>Makes self-signed certificates for localhost, and has them checked.</summary>
internal static class Certificates
{
    public static X509Certificate2 SelfSign(CertificateRequest request, X509SignatureGenerator generator)
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("kms.test");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return request.Create(request.SubjectName, generator, now.AddHours(-1), now.AddDays(1), [1, 2, 3]);
    }

    public static void AssertSelfSigned(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(certificate);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        Assert.True(chain.Build(certificate), string.Join(' ', chain.ChainStatus.Select(status => status.StatusInformation)));
    }

    /// <summary><c>-check_ss_sig</c>: without it the signature of a trusted root isn't looked at.</summary>
    public static async Task AssertOpenSslVerifiesAsync(X509Certificate2 certificate, CancellationToken stop)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("kms-certificate-");
        try
        {
            string good = Path.Combine(folder.FullName, "good.pem");
            await File.WriteAllTextAsync(good, certificate.ExportCertificatePem(), stop);
            (int exitCode, string said) = await RunAsync(stop, "verify", "-check_ss_sig", "-CAfile", good, good);
            Assert.True(exitCode == 0, said);
            Assert.Contains("CN", (await RunAsync(stop, "x509", "-in", good, "-noout", "-subject")).Said, StringComparison.Ordinal);

            // The check itself must be able to fail: the same certificate with a bit of its signature changed.
            byte[] bytes = certificate.RawData;
            bytes[^1] ^= 1;
            string bad = Path.Combine(folder.FullName, "bad.der");
            await File.WriteAllBytesAsync(bad, bytes, stop);
            string badPem = Path.Combine(folder.FullName, "bad.pem");
            _ = await RunAsync(stop, "x509", "-inform", "der", "-in", bad, "-out", badPem);
            Assert.NotEqual(0, (await RunAsync(stop, "verify", "-check_ss_sig", "-CAfile", badPem, badPem)).ExitCode);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task<(int ExitCode, string Said)> RunAsync(CancellationToken stop, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("openssl", arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> errors = process.StandardError.ReadToEndAsync(stop);
        string output = await process.StandardOutput.ReadToEndAsync(stop);
        await process.WaitForExitAsync(stop);
        return (process.ExitCode, output + await errors);
    }
}
